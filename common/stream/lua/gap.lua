-- Entries of KEYS[1] that were trimmed away or deleted before group ARGV[1] had read them. What is found is put right in the group's entries-read, in one
-- step: so it is told once, whoever looks, and the lag that Redis itself shows is true again.
-- KEYS[2]: the hash beside the group (owner.h); its field 'read STREAM' holds the group's place at the last look, and how many entries it had read. Redis
-- forgets that number where somebody sets the place (XGROUP SETID, CREATE), and where it reads on behind an XDEL. A restart from the AOF, and a failover,
-- leave none, or the one that was set last (7.0 to 8: XREADGROUP is replicated as XCLAIM, which does not say it).
-- ARGV[2]: 1 where nobody but the producer trims: then what was trimmed before a group has read anything is lost to it, too, and a place of which the number
-- is not known is told.
-- ARGV[3]: 1 where an outbox brings back what nobody read: a place beyond the end, where nothing is ever read, is taken back to it.
-- Returns how many were lost (-1: not known, nor whether any), the last id that the group had read before them, the first that is left behind them ('': not
-- known, or none), and the group's lag (-1: not known).
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
local added, first, deleted, ending = stream['entries-added'], stream['recorded-first-entry-id'], stream['max-deleted-entry-id'], stream['last-generated-id']
if not group or not added then
        return {0, '', '', -1}
end
local read, last, lag = group['entries-read'], group['last-delivered-id'], group['lag'] or -1
if ARGV[3] == '1' and less(ending, last) then
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ending)
        return {-1, last, '', lag}
end
local noted = redis.call('HGET', KEYS[2], 'read ' .. KEYS[1])
local noted_at, noted_read = (noted or ''):match('^(%S+) (%d+)$')
noted_read = tonumber(noted_read)
if noted_at and (noted_read > added or less(ending, noted_at)) then -- of a stream of this name that is gone
        noted_at = nil
end
if read and noted_at and less(noted_at, last) and read <= noted_read then -- it has read on since
        read = nil
end
local known, unknown = read, false
local again = noted_at and less(last, noted_at) -- its place was set back, or the group made anew: what is gone may have been read
if again then
        known = math.huge
elseif noted_at == last then
        known = math.max(read or 0, noted_read)
elseif not read and ARGV[2] == '1' then
        known = last == '0-0' and 0 or nil
        unknown = not known and (noted_at and not less(noted_at, deleted) or not noted_at and deleted == '0-0')
end
if not (known or unknown) or (known and less(ending, last)) then -- or the place was set beyond the end by hand
        return {0, '', '', lag}
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
elseif unknown then
        left = left_behind(1000)
elseif less(last, deleted) then -- XDEL of what was not read; once it is read on, Redis knows nothing up to the end of the stream
        left = left_behind(20000)
elseif #entries_behind(last, 1) == 0 then -- all is read
        left = 0
end
local passed = left and added - left
local lost = passed and (unknown and -1 or math.max(0, passed - known)) or 0
local number = noted_at == last and known or read
if lost ~= 0 or not number then
        number = passed
end
if number and number ~= group['entries-read'] then
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', number)
        lag = -1
end
local note = number and last .. ' ' .. number
if note and note ~= noted and not again then
        redis.pcall('HSET', KEYS[2], 'read ' .. KEYS[1], note) -- with its memory full: the next time
end
return {lost, lost ~= 0 and last or '', lost ~= 0 and before or '', lag}
