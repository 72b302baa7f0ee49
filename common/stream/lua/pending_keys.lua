-- The keys that entries pending for group ARGV[1] of KEYS[1] name: the terms, and the buckets, each as the text of a PostgreSQL array. Nothing where there
-- are more entries than are looked at. Entries that were trimmed away name none.
local limit, page, from, seen = 10000, 1000, '-', 0
local found, is_key = {bucket = {}, term_id = {}}, {bucket = '^%d%d?$', term_id = '^0x%x+$'}
repeat
        local pending = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', page)
        for _, one in ipairs(pending) do
                from = '(' .. one[1]
                local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
                for j = 1, entry and #entry[2] or 0, 2 do
                        local keys, value = found[entry[2][j]], entry[2][j + 1]
                        if keys and value:find(is_key[entry[2][j]]) then
                                keys[#keys + 1] = value
                        end
                end
        end
        seen = seen + #pending
until #pending < page or seen >= limit
if seen >= limit then
        return {}
end
return {'{' .. table.concat(found.term_id, ',') .. '}', '{' .. table.concat(found.bucket, ',') .. '}'}
