-- Pending entries of a consumer whose data is gone go to the dead letters, in one step with their leaving the pending ones; the others are made
-- fresh, or taken over. Two commands in a row would not do: XAUTOCLAIM and XCLAIM drop such entries from the pending ones themselves, and who
-- dies or stands still before the letter is written loses it, or writes it for an entry that somebody else has finished meanwhile.
-- KEYS: the entries' stream, the dead letters. ARGV: group, consumer, count, from, stage, error, and for claiming: idle ms.
-- Without idle ms: makes the consumer's own entries from `from` on (XPENDING's start) fresh. Returns the last id, how many it has looked at, and the
-- ids of those lost. With it: XAUTOCLAIM from the cursor `from`. Returns the next cursor, how many were claimed, and the ids of those lost.
local stream, letters, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local function iso(id) -- the id's time, as clock_format writes it
        local s = math.floor(tonumber(id:match('^%d+')) / 1000)
        local days, rest = math.floor(s / 86400), s % 86400
        local z = days + 719468
        local era = math.floor(z / 146097)
        local doe = z - era * 146097
        local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
        local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
        local mp = math.floor((5 * doy + 2) / 153)
        local month = mp < 10 and mp + 3 or mp - 9
        return string.format('%04.0f-%02.0f-%02.0fT%02.0f:%02.0f:%02.0fZ', yoe + era * 400 + (month <= 2 and 1 or 0), month,
                doy - math.floor((153 * mp + 2) / 5) + 1, math.floor(rest / 3600), math.floor(rest % 3600 / 60), rest % 60)
end
local function tell(id)
        redis.call('XADD', letters, '*', 'stage', ARGV[5], 'stream', stream, 'id', id, 'group', group, 'event_index', '', 'error_class', 'lost',
                'error', ARGV[6], 'attempts', '0', 'first_seen', iso(id), 'payload', '')
end
local asked = redis.pcall('XLEN', letters) -- first: a script that fails half way is not undone
if type(asked) == 'table' then
        return redis.error_reply(asked.err .. ' (' .. letters .. ')')
end
if ARGV[7] then
        local reply = redis.call('XAUTOCLAIM', stream, group, consumer, ARGV[7], ARGV[4], 'COUNT', ARGV[3], 'JUSTID')
        for _, id in ipairs(reply[3]) do
                tell(id)
        end
        return {reply[1], #reply[2], reply[3]}
end
-- XCLAIM returns the ids whose data is there, and drops the others from the pending ones.
local found, ids, here, lost, last = redis.call('XPENDING', stream, group, ARGV[4], '+', ARGV[3], consumer), {}, {}, {}, ''
for i, entry in ipairs(found) do
        last, ids[i] = entry[1], entry[1]
end
if #ids > 0 then
        ids[#ids + 1] = 'JUSTID'
        for _, id in ipairs(redis.call('XCLAIM', stream, group, consumer, 0, unpack(ids))) do
                here[id] = true
        end
        ids[#ids] = nil
end
for _, id in ipairs(ids) do
        if not here[id] then
                tell(id)
                lost[#lost + 1] = id
        end
end
return {last, #found, lost}
