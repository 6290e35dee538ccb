-- Who came back from an OpenID Connect provider and was signed in: the same answer of it counts once.
create table used_departures (
    -- SHA-256 of its state
    state bytea primary key,
    expires_at timestamptz not null
);
-- serves the clean-up by age
create index used_departures_expiring on used_departures (expires_at);
