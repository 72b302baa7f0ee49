-- In how many parts the blocks are settled whose events do not stand where the reorgs put them.
SELECT reorg_find()
