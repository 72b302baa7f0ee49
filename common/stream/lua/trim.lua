-- Drops entries of KEYS[1] that every group has acked, but for the newest ARGV[1]; a call looks at 1,000 entries or 1 MB of them at most, a few at
-- a time, so that neither Redis's time nor its memory is taken by large entries.
-- Nothing goes while there is no group ARGV[2], our own: it has read nothing yet.
-- What is looked at and what is dropped are one step: nothing can be added or delivered in between. Returns how many went.
-- XTRIM of acked entries leaves the groups' lag right (Redis 7.0); XDEL would not.
-- include ids.lua
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if excess <= 0 or #groups == 0 then
        return 0
end
local safe, ours
for _, group in ipairs(groups) do
        local field = {}
        for i = 1, #group, 2 do
                field[group[i]] = group[i + 1]
        end
        ours = ours or field['name'] == ARGV[2]
        local bound = field['last-delivered-id']
        if field['pending'] > 0 then
                bound = redis.call('XPENDING', KEYS[1], field['name'])[2]
        end
        if not safe or less(bound, safe) then
                safe = bound
        end
end
if not ours then
        return 0
end
local bound, seen, size = '0-0', 0, 0
repeat
        local page = entries_behind(bound, math.min(excess + 1 - seen, 20))
        for _, entry in ipairs(page) do
                bound, seen = entry[1], seen + 1
                for _, text in ipairs(entry[2]) do
                        size = size + #text
                end
        end
until #page == 0 or seen > excess or seen >= 1000 or size >= 1048576
if less(safe, bound) then
        bound = safe
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', bound)
