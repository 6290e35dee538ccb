-- Which events of each ticket were applied: reporting's inbox, by (ticket, sequence) and not by event id, kept as ranges
-- since the topic is kept for ever. The row is also the lock under which the ticket is counted.
create table tickets (
    account text not null,
    ticket uuid not null,
    seen int4multirange not null default '{}',
    primary key (account, ticket)
) with (fillfactor = 80);

-- The events that count at present, each as one measure in one cell of `daily`. What a later event supersedes is deleted.
create table counted (
    account text not null,
    ticket uuid not null,
    sequence integer not null,
    measure text not null,
    day date not null,
    site text not null,
    channel text not null,
    kind text not null,
    category text not null,
    group_id text not null,
    agent text not null,
    ms bigint not null,
    primary key (account, ticket, sequence)
);

-- The sums of `counted` per local day and dimensions; '' where there is none. Durations in milliseconds.
-- Its primary key serves the daily report: one account, one day.
create table daily (
    account text not null,
    day date not null,
    site text not null,
    channel text not null,
    kind text not null,
    category text not null,
    group_id text not null,
    agent text not null,
    opened bigint not null,
    offered bigint not null,
    answered bigint not null,
    abandoned bigint not null,
    refused bigint not null,
    resolved bigint not null,
    messages_left bigint not null,
    first_replies bigint not null,
    wait_ms bigint not null,
    first_reply_ms bigint not null,
    handling_ms bigint not null,
    primary key (account, day, site, channel, kind, category, group_id, agent)
) with (fillfactor = 80);
