-- What visitors are told: the plan's texts once each, their place in the queue, and invitations.

-- which of the plan's texts the contact has been told
alter table tickets add column said text[] not null default '{}';
-- serves the pace of a queue: the answers of the last minutes, per group and channel
create index tickets_answered on tickets (account, "group", channel, answered_at) where answered_at is not null;

-- The place in the queue that whoever waits was told last.
create table places_told (
    ticket uuid primary key,
    "group" text not null,
    position integer not null,
    -- what a caller heard
    text text,
    told_at timestamptz not null
);
-- serves the clean-up by age
create index places_told_at on places_told (told_at);

-- who posted it: that adapter alone can show an invitation
alter table visits add column adapter text;
-- serves the list of visits, newest first, on any site and on one
create index visits_of_account on visits (account, id desc);
create index visits_of_site on visits (account, site, id desc);

-- A visitor who may be, or was, invited to chat (H-11); forgotten after a day.
create table invitations (
    account text not null,
    interaction text not null,
    site text not null,
    adapter text,
    traceparent text,
    contact uuid,
    -- what they look at, and since when
    page text,
    seen_at timestamptz not null,
    -- when a rule of the plan may apply; infinity: none will
    due_at timestamptz not null,
    -- watched, invited, accepted, failed (it could not be shown), or over (a chat began by itself)
    state text not null,
    -- the id of the invitation, which is that of its instruction
    invitation uuid,
    rule text,
    agent text,
    text text,
    expires_at timestamptz,
    touched_at timestamptz not null default now(),
    primary key (account, interaction)
);
-- serves the timer: whom a rule may invite now
create index invitations_due on invitations (due_at) where state = 'watched';
-- serves outcomes: which invitation are they about?
create unique index invitations_id on invitations (invitation) where invitation is not null;
-- serves the clean-up by age
create index invitations_touched on invitations (touched_at);
