"""`python -m kefu_local …` is `kefu local …`, without loading the other services' commands."""

from kefu_local.cli import local

local()
