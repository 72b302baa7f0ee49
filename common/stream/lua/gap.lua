-- Entries of KEYS[1] that were trimmed away before group ARGV[1] had read them. What is found is put right in the group's entries-read, in one step:
-- so it is told once, whoever looks, and the lag that Redis itself shows is true again.
-- ARGV[2]: 1 where nobody but the producer trims: then what was trimmed before a group has read anything is lost to it, too.
-- Returns how many were lost, the last id that the group had read before them, the first that is left behind them ('': not known, or none), and the
-- group's lag (-1: not known).
local function fields(list)
        local field = {}
        for i = 1, #list, 2 do
                field[list[i]] = list[i + 1]
        end
        return field
end
local function less(a, b)
        local a_ms, a_seq = a:match('(%d+)-(%d+)')
        local b_ms, b_seq = b:match('(%d+)-(%d+)')
        local function smaller(x, y) -- decimal strings: ids are 64 bits, Lua's numbers are not
                if #x ~= #y then return #x < #y end
                return x < y
        end
        return smaller(a_ms, b_ms) or (a_ms == b_ms and smaller(a_seq, b_seq))
end
local stream, group = fields(redis.call('XINFO', 'STREAM', KEYS[1])), nil
for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local field = fields(one)
        group = field['name'] == ARGV[1] and field or group
end
local read = group and group['entries-read']
if group and not read and group['last-delivered-id'] == '0-0' and ARGV[2] == '1' then
        read = 0
end
local lag = group and group['lag'] or -1
if not read or not stream['entries-added'] then
        return {0, '', '', lag}
end
local last, first, added, before = group['last-delivered-id'], stream['recorded-first-entry-id'], stream['entries-added'], ''
local passed
if stream['length'] == 0 then
        passed = added
elseif less(last, first) then -- XDEL in what is left would count twice
        passed, before = less(stream['max-deleted-entry-id'], first) and added - stream['length'], first
elseif #redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1) == 0 then -- all is read
        passed = added
end
if not passed or passed <= read then
        return {0, '', '', lag}
end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', passed)
return {passed - read, last, before, -1}
