-- For people: the newest dead letters, as JSON. Letters may be large: they are only looked at when the stream has changed.
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
        return (text or ''):sub(1, 200):gsub('[^\32-\126]', '?')
end
local letters = {}
for n, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 5)) do
        local field = {}
        for j = 1, #entry[2], 2 do
                field[entry[2][j]] = entry[2][j + 1]
        end
        letters[n] = {letter = entry[1], stage = short(field['stage']), stream = short(field['stream']), id = short(field['id']),
                error_class = short(field['error_class']), error = short(field['error'])}
end
return {version, #letters > 0 and cjson.encode(letters) or '[]'}
