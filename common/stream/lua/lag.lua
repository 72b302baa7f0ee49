-- How many entries of KEYS[1] stand behind id ARGV[1], for groups whose lag Redis 7.0 does not know: counted up to ARGV[2] of them or ARGV[3] bytes,
-- so that Redis never stands still.
local count, size, from = 0, 0, ARGV[1]
repeat
        local entries = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 100)
        for _, entry in ipairs(entries) do
                for _, text in ipairs(entry[2]) do
                        size = size + #text
                end
                from = entry[1]
        end
        count = count + #entries
until #entries < 100 or count >= tonumber(ARGV[2]) or size >= tonumber(ARGV[3])
return count
