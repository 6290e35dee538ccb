-- What every service that reads and writes Kafka needs in its own schema.

-- Events that were applied. Unique over the whole table; rows older than 30 days are deleted in bulk.
create table inbox (
    event uuid primary key,
    body_hash bytea not null,
    seen_at timestamptz not null default now(),
    -- set aside by a rule, without any effect: a replay lets it be judged anew
    is_set_aside boolean not null default false
);
-- serves the clean-up by age
create index inbox_seen_at on inbox using brin (seen_at);

-- Events to be published. A row is deleted once Kafka has confirmed it.
create table outbox (
    id bigint generated always as identity primary key,
    shard smallint not null,
    topic text not null,
    key text not null,
    value bytea not null,
    headers jsonb,
    created_at timestamptz not null default now()
);
-- serves the relays: the oldest rows of the shards that one holds
create index outbox_shard_id on outbox (shard, id);

-- Which relay publishes which shard, until when; the fence grows with each new holder.
create table outbox_shards (
    shard smallint primary key,
    holder text,
    lease_until timestamptz not null default '-infinity',
    fence bigint not null default 0
);
insert into outbox_shards (shard) select generate_series(0, 15);

-- Relays that are alive, so that each takes its share of the shards.
create table outbox_relays (
    slot text primary key,
    seen_at timestamptz not null
);

-- Events that were set aside and hold back the later ones of their key until they are replayed, oldest first.
-- The place is where the event was first read: a letter keeps it through every replay.
create table set_aside_events (
    id bigint generated always as identity unique,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    key text not null,
    since timestamptz not null default now(),
    primary key (topic, partition, "offset")
);
-- serves the consumer: what holds back the keys of a batch
create index set_aside_events_key on set_aside_events (topic, key, id);
