-- Routing's own tables. Every key of what an account names begins with the account.

create table accounts (
    id text primary key,
    -- raised with every change of the account's directory, so that a process knows whether its copy is current
    directory_version bigint not null default 0,
    created_at timestamptz not null default now()
);

-- The directory: the current state of each object; a deleted one keeps its version and has no body.
create table directory (
    account text not null references accounts,
    kind text not null,
    id text not null,
    version bigint not null,
    body jsonb,
    updated_at timestamptz not null default now(),
    -- by when it was first made: the order of lists
    number bigint generated always as identity,
    -- up to which version it was published a second time, see timers.py
    settled_version bigint not null default 0,
    primary key (account, kind, id)
);
-- serves the lists of the directory, newest first
create index directory_newest on directory (account, kind, number desc) where body is not null;
-- serves the timer: what has not been published a second time
create index directory_unsettled on directory (updated_at) where settled_version < version;
-- serves: who has this key?
create unique index directory_key_hash on directory ((body ->> 'hash')) where kind = 'key' and body is not null;

-- One row for each agent: presence and the counts that strategies need. `state` is null while signed out.
create table seats (
    account text not null,
    agent text not null,
    state text,
    reason text,
    since timestamptz,
    lease_s integer not null default 0,
    lease_until timestamptz not null default 'infinity',
    -- offers received on the account's day `offers_day`, and when the last one came
    offers_day date,
    offers_today integer not null default 0,
    last_offer_at timestamptz not null default 'epoch',
    primary key (account, agent)
);
-- serves the timer: leases that ran out
create index seats_lease on seats (lease_until) where state is not null and state <> 'away';

create table contacts (
    id uuid primary key,
    account text not null,
    external_id text,
    name text,
    phone text,
    email text,
    tier text,
    created_at timestamptz not null
);
-- serves the list of an account's contacts
create index contacts_account on contacts (account, id);

-- By what a contact is recognised: kind is external, email or phone.
create table contact_identities (
    account text not null,
    kind text not null,
    value text not null,
    contact uuid not null,
    primary key (account, kind, value)
);

create table tickets (
    id uuid primary key,
    account text not null,
    site text not null,
    channel text not null,
    kind text not null,
    status text not null,
    reason text,
    source text,
    category text,
    tier text,
    "group" text,
    handler text,
    owner text,
    contact uuid not null,
    interaction text not null,
    adapter text,
    priority smallint not null,
    tags text[] not null,
    sequence integer not null,
    opened_at timestamptz not null,
    due_at timestamptz,
    -- from when it may be offered: the next open minute of a closed site; infinity: never as the calendar stands
    ready_at timestamptz not null,
    -- when the plan's longest wait is over
    give_up_at timestamptz,
    -- the open offer, and the number that grows with each one
    offer uuid,
    fence integer not null,
    -- whose capacity it takes: whom it is offered to, or who has it in hand
    holder text,
    -- whether the call or chat is still going on
    live boolean not null,
    answered_at timestamptz,
    replied_at timestamptz,
    handling_since timestamptz,
    handled_ms bigint not null,
    -- agents who declined or lapsed it lately, and when
    passed jsonb not null,
    -- the partition on which the interaction's events come
    partition smallint not null,
    traceparent text,
    -- of the e-mail that opened it
    subject text,
    -- where whoever wrote is answered
    reply_email text,
    reply_phone text
);
-- serves assignment: per channel, the oldest of the most urgent that wait in a group
create index tickets_waiting on tickets (account, "group", channel, live, priority desc, opened_at)
    where status = 'queued';
-- serves assignment: what each agent holds
create index tickets_held on tickets (account, holder, channel) where holder is not null;
-- serves an agent's list of what they have in hand, and whether they may leave the directory
create index tickets_in_hand on tickets (account, handler, id desc) where status = 'active';
-- serves joining: the newest open ticket of a contact
create index tickets_of_contact on tickets (account, contact, id desc);
-- serves the list of tickets, newest first
create index tickets_of_account on tickets (account, id desc);
-- serves the timer: waits that are over
create index tickets_give_up on tickets (give_up_at) where status = 'queued' and give_up_at is not null;

create table interactions (
    account text not null,
    id text not null,
    ticket uuid not null,
    primary key (account, id)
);

create table offers (
    id uuid primary key,
    account text not null,
    ticket uuid not null,
    agent text not null,
    channel text not null,
    partition smallint not null,
    fence integer not null,
    status text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
-- serves an agent's list of open offers
create index offers_of_agent on offers (account, agent, id) where status = 'open';
-- serves the timer: offers that ran out
create index offers_expiring on offers (expires_at) where status = 'open';

create table messages (
    id uuid primary key,
    account text not null,
    ticket uuid not null,
    at timestamptz not null,
    "from" text not null,
    agent text,
    subject text,
    text text not null,
    html text,
    attachments jsonb not null,
    -- of a reply: pending, sent, delivered, read or failed
    state text
);
-- serves the conversation of a ticket
create index messages_of_ticket on messages (ticket, at, id);

-- What adapters were asked to do, so that an outcome finds what it is about; kept as long as outcomes may come.
create table instructions (
    id uuid primary key,
    ticket uuid not null,
    -- the text that it says, or the offer for which it rings
    message uuid,
    offer uuid,
    expires_at timestamptz not null,
    -- what became of it: sent, delivered, read, failed; or expired, when nothing was heard in time
    outcome text
);
-- serves the timer: texts of which nothing was heard in time
create index instructions_unheard on instructions (expires_at) where outcome is null and message is not null;
-- serves the clean-up by age
create index instructions_expires_at on instructions using brin (expires_at);

-- Internal notes: never in the same table as what a contact may see.
create table notes (
    id uuid primary key,
    account text not null,
    ticket uuid not null,
    at timestamptz not null,
    agent text not null,
    text text not null
);

-- Every event of a ticket, as published, and why it was decided so.
create table history (
    ticket uuid not null,
    sequence integer not null,
    account text not null,
    type text not null,
    at timestamptz not null,
    data jsonb not null,
    why jsonb,
    primary key (ticket, sequence)
);

-- Events that came before the start of their interaction; kept 24 h.
create table early_events (
    event uuid primary key,
    account text not null,
    interaction text not null,
    at timestamptz not null,
    received_at timestamptz not null default now(),
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    timestamp_ms bigint not null,
    key text not null,
    value bytea not null,
    headers jsonb not null
);
-- serves the start: what came before it
create index early_events_interaction on early_events (account, interaction);
-- serves the timer: what waited too long
create index early_events_received on early_events (received_at);

-- First answers of commands with an Idempotency-Key; kept 24 h.
create table first_answers (
    account text not null,
    caller text not null,
    path text not null,
    key text not null,
    body_hash bytea not null,
    status smallint,
    body bytea,
    etag text,
    created_at timestamptz not null default now(),
    primary key (account, caller, path, key)
);
-- serves the clean-up by age
create index first_answers_created on first_answers (created_at);
