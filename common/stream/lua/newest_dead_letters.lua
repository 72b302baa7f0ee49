-- For people: the 50 newest dead letters by stage and class, as JSON. Letters may be large: they are only looked at when the stream has changed, one at
-- a time, and no more than 4 MB of them.
-- KEYS: the dead letters. ARGV: the version of the letters known. Returns the version, and the letters ('' where the known ones are right).
local info, version = redis.pcall('XINFO', 'STREAM', KEYS[1]), 'none'
if not info.err then
        local field = {}
        for j = 1, #info, 2 do
                field[info[j]] = info[j + 1]
        end
        version = field['length'] .. '/' .. field['last-generated-id']
end
if version == ARGV[1] then
        return {version, ''}
end
local function short(text)
        return (text or ''):sub(1, 200):gsub('[%c\127]', '?')
end
-- Of each stage and class: how many of the newest, and the newest one.
local groups, of = {}, {}
local seen, size, entry = 0, 0, redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
while entry and seen < 50 and size < 4194304 do
        local field = {}
        for j = 1, #entry[2], 2 do
                field[entry[2][j]] = entry[2][j + 1]
                size = size + #entry[2][j + 1]
        end
        seen = seen + 1
        local stage, class = short(field['stage']), short(field['error_class'])
        local group = of[stage .. '/' .. class]
        if not group then
                group = {stage = stage, error_class = class, count = 0, letter = entry[1], stream = short(field['stream']), id = short(field['id']),
                        error = short(field['error'])}
                of[stage .. '/' .. class] = group
                groups[#groups + 1] = group
        end
        group.count = group.count + 1
        entry = redis.call('XREVRANGE', KEYS[1], '(' .. entry[1], '-', 'COUNT', 1)[1]
end
return {version, #groups > 0 and cjson.encode(groups) or '[]'}
