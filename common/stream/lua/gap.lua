-- Entries of KEYS[1] that were trimmed away or deleted before group ARGV[1] had read them. What is found is put right in the group's entries-read, in one
-- step: so it is told once, whoever looks, and the lag that Redis itself shows is true again.
-- ARGV[2]: 1 where nobody but the producer trims: then what was trimmed before a group has read anything is lost to it, too, and a place that was set by
-- hand (XGROUP SETID, CREATE) is told: Redis does not know how many entries such a group has read.
-- ARGV[3]: the last place of the group at which Redis knew how many it had read ('': none). Where nothing behind it was deleted, Redis goes on to know it,
-- until somebody sets the place.
-- ARGV[4]: 1 where an outbox brings back what nobody read: a place beyond the end, where nothing is ever read, is taken back to it.
-- Returns how many were lost (-1: not known, the place was set by hand), the last id that the group had read before them, the first that is left behind
-- them ('': not known, or none), the group's lag (-1: not known), and the place for ARGV[3] of the next look.
-- include ids.lua
local function fields(list)
        local field = {}
        for i = 1, #list, 2 do
                field[list[i]] = list[i + 1]
        end
        return field
end
local stream, group = fields(redis.call('XINFO', 'STREAM', KEYS[1])), nil
for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local field = fields(one)
        group = field['name'] == ARGV[1] and field or group
end
local read, last = group and group['entries-read'], group and group['last-delivered-id']
local added, first, deleted = stream['entries-added'], stream['recorded-first-entry-id'], stream['max-deleted-entry-id']
local lag, by_hand = group and group['lag'] or -1, false
local counted = read and last or ARGV[3]
if group and not read and added and ARGV[2] == '1' then
        by_hand = last ~= '0-0' and (deleted == '0-0' or counted ~= '' and less(counted, last) and not less(counted, deleted))
        read = last == '0-0' and (counted == '' or counted == '0-0') and 0 -- else the group was made anew: what is gone may have been read
end
if group and ARGV[4] == '1' and less(stream['last-generated-id'], last) then
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], stream['last-generated-id'])
        return {-1, last, '', lag, ''}
end
if not added or not (read or by_hand) or (read and less(stream['last-generated-id'], last)) then -- or the place was set beyond the end by hand
        return {0, '', '', lag, counted}
end
local function left_behind(most) -- how many entries there are behind the last one read; nil: more than that, or too large
        local count, all = count_behind(last, most + 1, 33554432)
        return all and count <= most and count or nil
end
local left, before = nil, ''
if stream['length'] == 0 then
        left = 0
elseif less(last, first) then
        left, before = stream['length'], first
elseif by_hand then
        left = left_behind(1000)
elseif less(last, deleted) then -- XDEL of what was not read; once it is read on, Redis knows nothing up to the end of the stream
        left = left_behind(20000)
elseif #entries_behind(last, 1) == 0 then -- all is read
        left = 0
end
local passed = left and added - left
if not passed or (read and passed <= read) then
        return {0, '', '', lag, counted}
end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', passed)
return {read and passed - read or -1, last, before, -1, counted}
