-- Removes the names of consumers of group ARGV[1] on KEYS[1] that have nothing pending and have not read for ARGV[2] ms. Returns how many.
local gone = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
        local field = {}
        for i = 1, #consumer, 2 do
                field[consumer[i]] = consumer[i + 1]
        end
        if field['pending'] == 0 and field['idle'] > tonumber(ARGV[2]) then
                redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], field['name'])
                gone = gone + 1
        end
end
return gone
