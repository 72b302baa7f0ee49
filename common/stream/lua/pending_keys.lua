-- The keys that entries pending for group ARGV[1] of KEYS[1] name. Returns whether all pending entries were looked at (1 or 0), the buckets, the
-- terms. Entries that were trimmed away name none.
local limit, page, found, from, seen = 10000, 1000, {bucket = {}, term_id = {}}, '-', 0
repeat
        local pending = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', page)
        for _, one in ipairs(pending) do
                from = '(' .. one[1]
                local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
                for j = 1, entry and #entry[2] or 0, 2 do
                        local keys = found[entry[2][j]]
                        if keys then
                                keys[#keys + 1] = entry[2][j + 1]
                        end
                end
        end
        seen = seen + #pending
until #pending < page or seen >= limit
return {seen < limit and 1 or 0, found.bucket, found.term_id}
