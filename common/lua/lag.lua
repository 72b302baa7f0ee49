-- How many entries of KEYS[1] stand behind id ARGV[1], counted up to ARGV[2]: for groups whose lag Redis 7.0 does not know.
return #redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
