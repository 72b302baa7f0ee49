-- An id is two numbers of 64 bits, as decimal text: Lua's numbers hold less.
local function less(a, b)
        local a_ms, a_seq = a:match('(%d+)-(%d+)')
        local b_ms, b_seq = b:match('(%d+)-(%d+)')
        local function smaller(x, y)
                if #x ~= #y then return #x < #y end
                return x < y
        end
        return smaller(a_ms, b_ms) or (a_ms == b_ms and smaller(a_seq, b_seq))
end
-- Entries of KEYS[1] behind an id. Redis refuses an interval behind the last id that there can be.
local function entries_behind(id, count)
        return id == '18446744073709551615-18446744073709551615' and {} or redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', count)
end
-- How many entries there are behind an id, counted up to `most` of them or so many bytes: Redis never stands still. And whether that is all.
local function count_behind(id, most, bytes)
        local count, size, all = 0, 0, false
        repeat
                local entries = entries_behind(id, 100)
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
