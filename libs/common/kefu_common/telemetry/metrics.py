"""Every metric of Kefu, in one list: name, kind, labels, unit and what it is for."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_SECONDS = Histogram(
    "kefu_http_request_seconds", "Time to answer an HTTP request", ["method", "route", "status"], buckets=_FAST
)
ACCEPT_SECONDS = Histogram(
    "kefu_accept_seconds", "From an adapter's request to Kafka's confirmation", ["status"], buckets=_FAST
)
IN_FLIGHT = Gauge("kefu_events_in_flight", "Posted events that wait for Kafka's confirmation")
EVENTS_ACCEPTED = Counter("kefu_events_accepted_total", "Events answered with 202", ["type"])
MAILS_REFUSED = Counter("kefu_mails_refused_total", "Mails that the listener could not read, and refused for good")
CONSUMED = Counter("kefu_events_consumed_total", "Events read and applied", ["topic"])
DUPLICATES = Counter("kefu_duplicates_suppressed_total", "Events that the inbox had seen before", ["topic"])
ID_REUSED = Counter("kefu_events_id_reused_total", "Events set aside: a known id with another body", ["adapter"])
DEAD_LETTERS = Counter("kefu_dead_letters_total", "Events set aside", ["topic", "reason"])
BATCH_SECONDS = Histogram(
    "kefu_batch_seconds", "Time of each phase of a consumer's batch", ["topic", "phase"], buckets=_FAST
)
BATCH_RETRIES = Counter("kefu_batch_retries_total", "Batches tried again after an error that passes", ["topic"])
CONSUMER_LAG = Gauge("kefu_consumer_lag", "Records not yet read", ["topic", "partition"])
EVENT_DELAY = Histogram(
    "kefu_event_delay_seconds",
    "From when it happened to when it was applied",
    ["topic"],
    buckets=(*_FAST, 60.0, 600.0, 3600.0),
)
OUTBOX_PUBLISHED = Counter("kefu_outbox_published_total", "Outbox rows published", ["topic"])
OUTBOX_AGE = Gauge("kefu_outbox_oldest_seconds", "Age of the oldest outbox row not yet published")
OFFERS = Counter("kefu_offers_total", "Offers by how they ended or began", ["event"])
QUEUE_LENGTH = Gauge("kefu_queue_length", "Tickets that wait", ["account", "group"])
QUEUE_OLDEST = Gauge("kefu_queue_oldest_seconds", "The longest wait in the queue", ["account", "group"])
CALENDARS_INCOMPLETE = Gauge(
    "kefu_calendars_incomplete", "Calendars that lack the public holidays, or make-up days, of the year to come"
)
SENDS = Counter("kefu_sends_total", "Messages handed to a provider, by result", ["provider", "result"])
POSSIBLE_DUPLICATES = Counter(
    "kefu_possible_duplicates_total", "Sends repeated though the provider may have accepted before", ["provider"]
)
STREAMS = Gauge("kefu_streams_open", "Open SSE streams", ["feed"])
