"""`kefu demo`: a believable hour of a small shop, played against a running stack over its public HTTP alone."""
