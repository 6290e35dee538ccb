"""The sink's page: the newest messages, refreshed by itself, with nothing loaded from elsewhere."""

from collections.abc import Iterable
from html import escape

from kefu_local.sink.store import Received

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fafafa}
article{background:#fff;border:1px solid #ddd;border-radius:6px;padding:.6rem 1rem;margin:.8rem 0}
header{color:#666;font-size:.9em} pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.4rem 0 0}
b.sms{color:#0a6} b.email{color:#06a}
"""


def page(messages: Iterable[Received]) -> str:
    """A whole HTML document; every text in it comes from strangers and is escaped."""
    articles = "".join(_article(each) for each in messages) or "<p>Nothing has been sent yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        '<meta name="viewport" content="width=device-width"><title>Kefu: mail and SMS sink</title>'
        f"<style>{STYLE}</style>"
        "</head><body><h1>Mail and SMS sink</h1><p>What Kefu sent, newest first; nothing leaves this machine. "
        'The same as JSON: <a href="/messages">/messages</a>.</p>'
        f"{articles}</body></html>"
    )


def _article(message: Received) -> str:
    subject = f"<h3>{escape(message.subject)}</h3>" if message.subject else ""
    return (
        f'<article><header><b class="{message.channel}">{message.channel}</b> to {escape(message.to)} '
        f"from {escape(message.sender) or '-'} at {escape(message.at)}</header>"
        f"{subject}<pre>{escape(message.text)}</pre></article>"
    )
