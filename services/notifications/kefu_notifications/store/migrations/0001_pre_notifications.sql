-- Messages to people: an intent before anything is sent, and what became of it. Holds personal data.
create table messages (
    id uuid primary key,
    account text not null,
    event uuid not null,
    happened_at timestamptz not null,
    site text not null,
    ticket uuid not null,
    contact uuid not null,
    agent text,
    reply uuid,
    occasion text not null,
    medium text not null check (medium in ('email', 'sms')),
    recipient text,
    subject text,
    body text not null,
    signature text,
    segments integer not null default 0,
    cost_fen integer not null default 0,
    is_charged boolean not null default false,
    state text not null check (state in ('planned', 'sending', 'sent', 'failed', 'held')),
    reason text,
    attempts integer not null default 0,
    -- when it may be taken (again): now, after a pause, or when the lease of who sends it ends
    due_at timestamptz not null default now(),
    -- no further attempt after this
    give_up_at timestamptz not null,
    -- grows with each taking: only the latest taker may record a result
    fence bigint not null default 0,
    -- an attempt began whose result nobody recorded: the provider may have it
    is_open boolean not null default false,
    -- a person asked for it in spite of its age
    is_forced boolean not null default false,
    provider_id text,
    traceparent text,
    planned_at timestamptz not null default now(),
    sent_at timestamptz,
    updated_at timestamptz not null default now()
);
-- serves the senders: what is due next, by medium
create index messages_due on messages (medium, due_at) where state in ('planned', 'sending');
-- serves GET /v1/messages, newest first
create index messages_account on messages (account, id);
-- serves GET /v1/messages?ticket=
create index messages_ticket on messages (account, ticket, id);
-- serves GET /v1/messages?state=failed|held, and the release of what was held
create index messages_stuck on messages (account, state, id) where state in ('failed', 'held');

-- What an account chose; no row: all unset.
create table settings (
    account text primary key,
    emails text[],
    phones text[],
    signature text,
    version bigint not null default 1,
    updated_at timestamptz not null default now(),
    check ((emails is null) = (phones is null))
);

-- The credit for SMS, in fen: the sum of the account's entries.
create table credits (
    account text primary key,
    balance_fen integer not null check (balance_fen >= 0)
);

-- Append only. The reference makes each entry happen once: a message's id, or the operator's for a top-up.
create table credit_entries (
    account text not null references credits,
    id bigint generated always as identity,
    amount_fen integer not null,
    balance_fen integer not null,
    reason text not null check (reason in ('opening', 'top_up', 'sms')),
    reference text not null,
    message uuid,
    at timestamptz not null default now(),
    primary key (account, id),
    unique (account, reason, reference)
);

-- What subscribers are given. The id is the mark from which a stream resumes: rows are inserted under one lock, so
-- that the order of ids is the order of commits.
create table feed (
    id bigint generated always as identity primary key,
    feed text not null check (feed in ('tickets', 'outbound')),
    account text not null,
    site text not null,
    channel text not null,
    adapter text,
    subject text not null,
    type text not null,
    event text not null,
    expires_at timestamptz,
    created_at timestamptz not null default now()
);
-- serves the streams: an account's events after a mark
create index feed_account on feed (feed, account, id);
-- serves the clean-up by age
create index feed_created_at on feed (created_at);

-- The highest mark that was deleted, by feed and account: a stream cannot resume from below it.
create table feed_forgotten (
    feed text not null,
    account text not null,
    mark bigint not null,
    primary key (feed, account)
);

-- The sequence that was given last, by ticket.
create table ticket_marks (
    account text not null,
    ticket uuid not null,
    last_sequence integer not null,
    primary key (account, ticket)
);

-- Ticket events behind a gap: they wait for the missing ones.
create table feed_waiting (
    account text not null,
    ticket uuid not null,
    sequence integer not null,
    site text not null,
    channel text not null,
    type text not null,
    event text not null,
    created_at timestamptz not null default now(),
    primary key (account, ticket, sequence)
);
