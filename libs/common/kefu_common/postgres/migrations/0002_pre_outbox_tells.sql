-- Whoever writes into a shard that another process publishes tells it: looking there many times a second costs more.

create function tell_of_outbox() returns trigger language plpgsql as $$
begin
    perform pg_notify(tg_table_schema || '.outbox', '');
    return null;
end
$$;
create trigger tell_of_outbox after insert on outbox for each statement execute function tell_of_outbox();
