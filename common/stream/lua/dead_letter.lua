-- Moves an entry to the dead letters, once: only if it is still pending, and together with its ack.
-- KEYS: the entry's stream, the dead letters. ARGV: group, id, then names and values of the letter.
-- Returns 1 where it wrote a letter, 0 where the entry was not pending (somebody did it before).
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
        return 0
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
