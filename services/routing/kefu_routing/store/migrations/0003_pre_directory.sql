-- Who changed what in the directory, and whose holidays a calendar has.

-- Each change of an object as it was before and after, without secrets and their hashes: the audit trail.
create table directory_changes (
    number bigint generated always as identity primary key,
    account text not null,
    kind text not null,
    id text not null,
    -- of the object, from this change on
    version bigint not null,
    at timestamptz not null default now(),
    -- the key that was used, and the agent for whom it acted
    key text not null,
    agent text,
    before jsonb,
    after jsonb
);
-- serves the trail of an account, newest first
create index directory_changes_newest on directory_changes (account, number desc);
-- serves the trail of one object
create index directory_changes_of_object on directory_changes (account, kind, id, number desc);

-- serves the timer: calendars that follow a country's holidays
create index directory_countries on directory (account, id)
    where kind = 'calendar' and body ->> 'country' is not null;
