-- Whose is a consumer group? KEYS[1]: a hash of the group, a field a stream: 'ID PLACE SECONDS NAME' of the database that its programs write to, and
-- when one of them was here last. ARGV: stream, id, place, name, and 1 where it is to be taken, or 0.
-- Returns nothing where it is free or ours, else name and id of the other one. The same id at another place is a copy of the database: it waits until
-- the programs of the original have been gone for a minute, and then takes its place (a restore, a move).
local found, now = redis.call('HGET', KEYS[1], ARGV[1]), tonumber(redis.call('TIME')[1])
local id, place, seen, name
if found then
        id, place, seen, name = found:match('^(%S+) (%S+) (%d+) (.*)$')
end
local away = id and math.abs(now - tonumber(seen))
if id and (id ~= ARGV[2] or (place ~= ARGV[3] and away < 60)) then
        return {name, id}
end
if ARGV[5] == '1' and not (id and place == ARGV[3] and away < 5) then
        local done = redis.pcall('HSET', KEYS[1], ARGV[1], table.concat({ARGV[2], ARGV[3], now, ARGV[4]}, ' '))
        -- with its memory full: the next time, where it is ours already
        if type(done) == 'table' and done.err and not (id and place == ARGV[3] and done.err:find('OOM')) then
                return done
        end
end
return {}
