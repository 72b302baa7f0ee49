-- The values of field ARGV[2] of the entries pending for group ARGV[1] of KEYS[1], oldest entry first.
-- Returns whether all pending entries were looked at (1 or 0), and the values. Entries that were trimmed away have none.
local limit, page, values, from, seen = 10000, 1000, {}, '-', 0
repeat
        local found = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', page)
        for _, pending in ipairs(found) do
                from = '(' .. pending[1]
                local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])[1]
                for j = 1, entry and #entry[2] or 0, 2 do
                        if entry[2][j] == ARGV[2] then
                                values[#values + 1] = entry[2][j + 1]
                        end
                end
        end
        seen = seen + #found
until #found < page or seen >= limit
return {seen < limit and 1 or 0, values}
