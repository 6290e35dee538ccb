-- Visits, what e-mails carry, and keys with a former secret.

-- A page that a contact looked at; without a contact when nobody said who it was.
create table visits (
    id uuid primary key,
    account text not null,
    site text not null,
    contact uuid,
    at timestamptz not null,
    interaction text not null,
    source text,
    page text,
    referrer text
);
-- serves a contact's list of visits, newest first
create index visits_of_contact on visits (contact, id desc) where contact is not null;

-- the first and the last Message-ID of the thread, so that a reply is shown in it
alter table tickets add column thread text[] not null default '{}';

-- how an e-mail shows that no person wrote it
alter table messages add column auto text;

-- serves: who had this key until it was rotated?
create index directory_former_hash on directory ((body -> 'former' ->> 'hash'))
    where kind = 'key' and body is not null;
-- serves: whose is this mail address?
create unique index directory_address on directory ((body ->> 'address')) where kind = 'address' and body is not null;
