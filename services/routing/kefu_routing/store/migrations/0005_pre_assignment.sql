-- Assignment: turns, overflow, returning contacts, and agents who are done after what they have in hand.

alter table tickets
    -- its place in the queue, the earliest first: when it came, with priority and promises counted in
    add column turn_at timestamptz not null default now(),
    -- since when it waits, unless somebody has it
    add column queued_at timestamptz not null default now(),
    -- how many of the plan's overflow steps it has taken, and when the next one comes
    add column step smallint not null default 0,
    add column step_at timestamptz,
    -- other groups whose agents may take it too
    add column wider text[] not null default '{}',
    -- who served the contact last, and until when the ticket waits for them
    add column preferred text,
    add column preferred_until timestamptz,
    -- since when the client of whoever has it in hand is gone, and when it goes to another agent
    add column unattended_since timestamptz,
    add column reassign_at timestamptz;
update tickets set turn_at = opened_at - priority * interval '600 seconds', queued_at = opened_at
    where status = 'queued';

-- serves assignment: per channel, whose turn it is in a group
create index tickets_turn on tickets (account, "group", channel, live, turn_at, id) where status = 'queued';
-- serves assignment: what waits in more groups than its own
create index tickets_wider on tickets (account, turn_at) where status = 'queued' and wider <> '{}';
-- serves the timer: steps that come now
create index tickets_step on tickets (step_at) where status = 'queued' and step_at is not null;
-- serves the timer: work that goes to another agent
create index tickets_reassign on tickets (reassign_at) where status = 'active' and reassign_at is not null;
-- serves the leader's list, and whoever comes back
create index tickets_unattended on tickets (account, handler) where status = 'active' and unattended_since is not null;

alter table seats
    -- what the agent does when what is in hand has ended
    add column next_state text,
    add column next_reason text,
    -- until when the state lasts by itself
    add column until timestamptz,
    -- when the last thing that they had in hand ended, or they came
    add column freed_at timestamptz not null default 'epoch';
-- serves the timer: states that end by themselves
create index seats_until on seats (until) where until is not null;

-- which interaction a message came by, so that a wrong join can be undone
alter table messages add column interaction text;
-- since when an interaction belongs to its ticket, and where whoever wrote is answered
alter table interactions
    add column joined_at timestamptz,
    add column reply_email text,
    add column reply_phone text;
