#!lua
-- Hand a bot what it is to say, in each channel's order.
--
-- q.queue      the key of the bot's queue
-- q.platform   what goes to others is passed over; empty: there are no others
-- q.channels   what goes to others is passed over; left out: there are no others
-- q.holding    what the bot has from earlier and still works on: these leases are renewed
-- q.lease_ms   what is handed out is not handed out again before
-- q.offers     what was handed out so often and never confirmed is unknown from then on
-- q.limit      how many at the most
-- q.kept_back  why nothing may be said now; what was not handed out before is suppressed for it
-- Returns {row, ...}; `offers` counts how often each was handed out
--
-- Safe to repeat but for that count: what an answer that got lost handed out comes again after its lease.

local LOOK = 1000
local held, busy, served = {}, {}, {}
for _, id in ipairs(q.holding) do held[id] = true end
for _, channel in ipairs(q.channels or {}) do served[channel] = true end

local function serves(channel)
  if q.channels then return served[channel] end
  return q.platform == '' or channel:match('^[^:]*') == q.platform
end

local rows = {}
for _, id in ipairs(redis.call('LRANGE', q.queue, 0, LOOK - 1)) do
  local key = delivery_key(id)
  local row = redis.call('HMGET', key, 'channel', 'leased', 'offers')
  local channel, leased, offers = row[1], number(row[2]), number(row[3])
  if held[id] or leased > now then
    if held[id] then redis.call('HSET', key, 'leased', int(now + q.lease_ms)) end
    busy[channel] = true
  elseif not serves(channel) then
    -- another process's
  elseif q.kept_back and offers == 0 then
    move_delivery(id, 'suppressed', q.kept_back)
  elseif offers >= q.offers then
    move_delivery(id, 'unknown', 'its bot took it ' .. offers .. ' times and never said what became of it')
  elseif not busy[channel] and not q.kept_back and #rows < q.limit then
    redis.call('HSET', key, 'leased', int(now + q.lease_ms), 'offers', offers + 1)
    rows[#rows + 1] = redis.call('HGETALL', key)
  else
    busy[channel] = true
  end
end
return rows
