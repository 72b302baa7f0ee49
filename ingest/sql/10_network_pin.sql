-- $1 the network to pin where none is pinned yet
SELECT network_pin($1)
