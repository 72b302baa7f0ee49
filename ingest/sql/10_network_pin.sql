-- $1 the network to pin where none is pinned yet
INSERT INTO pinned_network (network) VALUES ($1) ON CONFLICT (only_row) DO NOTHING
