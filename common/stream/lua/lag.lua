-- How many entries of KEYS[1] stand behind id ARGV[1], for groups whose lag Redis 7.0 does not know: counted up to ARGV[2] of them or ARGV[3] bytes.
-- include ids.lua
return (count_behind(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])))
