-- People who sign in. Passwords, tokens and codes are hashed, second factors sealed.

create table passwords (
    account text not null,
    agent text not null,
    -- Argon2id, with its own salt and parameters
    hash text not null,
    changed_at timestamptz not null,
    primary key (account, agent)
);

create table second_factors (
    account text not null,
    agent text not null,
    sealed text not null,
    -- null: enrolled, and not asked for before a first code has shown that the agent's device has it
    confirmed_at timestamptz,
    -- the 30 s step of the last code that counted: it and those before never count again
    last_step bigint not null default 0,
    -- SHA-256 of the recovery codes that are left
    recovery bytea[] not null default '{}',
    primary key (account, agent)
);

-- Whoever is signed in. A session that ended has no row.
create table sessions (
    id uuid primary key,
    account text not null,
    agent text not null,
    -- SHA-256 of what renews it, and of what did before: an answer may have been lost
    renewal bytea not null,
    former_renewal bytea,
    made_at timestamptz not null,
    renewed_at timestamptz not null,
    ends_at timestamptz not null
);
-- serves: end all sessions of an agent
create index sessions_of_agent on sessions (account, agent);
-- serves the clean-up by age
create index sessions_ending on sessions (ends_at);

-- Attempts to sign in that have failed so far, by what was typed (its SHA-256), whoever that is.
create table sign_in_attempts (
    account text not null,
    login bytea not null,
    failures integer not null,
    last_at timestamptz not null,
    -- none is looked at before
    next_at timestamptz not null,
    primary key (account, login)
);
-- serves the clean-up by age
create index sign_in_attempts_last on sign_in_attempts (last_at);

-- Links that were mailed. One that was used has no row.
create table password_resets (
    token bytea primary key,
    account text not null,
    agent text not null,
    made_at timestamptz not null,
    expires_at timestamptz not null
);
-- serves: how many were mailed to an agent of late
create index password_resets_of_agent on password_resets (account, agent, made_at);
-- serves the clean-up by age
create index password_resets_expiring on password_resets (expires_at);
