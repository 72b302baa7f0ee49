-- How many entries of KEYS[1] stand behind an id, counted up to `most` of them or so many bytes: Redis never stands still. And whether that is all.
local function behind(id, most, bytes)
        local count, size, all = 0, 0, false
        repeat
                local entries = redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 100)
                for _, entry in ipairs(entries) do
                        for _, text in ipairs(entry[2]) do
                                size = size + #text
                        end
                        id = entry[1]
                end
                count, all = count + #entries, #entries < 100
        until all or count >= most or size >= bytes
        return count, all
end
