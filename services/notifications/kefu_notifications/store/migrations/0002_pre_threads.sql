-- Of a reply to an e-mail: the first and the last Message-ID of its thread, so that mail programs show it there.
alter table messages add column thread text[] not null default '{}';
