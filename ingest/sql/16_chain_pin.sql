-- $1 the id of the chain that the tables were found to be of
UPDATE chain_state SET chain_id = $1 WHERE chain_id IS DISTINCT FROM $1
