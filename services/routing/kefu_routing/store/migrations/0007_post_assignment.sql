-- The queue is by turn now.
drop index tickets_waiting;
