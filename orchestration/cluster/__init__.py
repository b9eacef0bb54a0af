"""Ray: a session of one's own, jobs on a cluster elsewhere, and the code that travels with them."""
