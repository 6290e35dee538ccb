-- The hours in which a ticket's site is closed do not count as waiting.

alter table tickets
    -- since when it waits, as if its site had never been closed
    add column came_at timestamptz not null default now();
update tickets set came_at = opened_at where status in ('queued', 'offered', 'active');
-- No ticket waits for ever: what a site that never opens got is looked at again, and times can be subtracted.
update tickets set ready_at = now() + interval '400 days' where status = 'queued' and ready_at = 'infinity';
update tickets set came_at = ready_at, turn_at = turn_at + (ready_at - opened_at) where status = 'queued' and ready_at > now();
