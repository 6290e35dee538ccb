-- A link to a new password is about no ticket.
alter table messages
    alter column ticket drop not null,
    alter column contact drop not null,
    -- what takes the place of {link} in the body at the moment of sending
    add column sealed text;
-- serves the clean-up: links that are over are forgotten
create index messages_sealed on messages (happened_at) where sealed is not null;
