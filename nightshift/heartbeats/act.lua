#!lua
-- May this run speak up? Not if much was said, or the same, of late.
--
-- q.channel, q.run   where, and which run asks
-- q.marks, q.topic   what it is about: texts of which one that was said before is a repetition
-- q.per_day, q.repeat_ms
-- Returns {'act'} | {'repeated', at} | {'enough', how often}
--
-- Safe to repeat: a run that was let speak is let speak again.

local DAY = 86400000
local key = visit_key(q.channel)
local kept, today = {}, 0
for _, act in ipairs(cjson.decode(redis.call('HGET', key, 'acts') or '[]')) do
  if act.run == q.run then return {'act'} end
  if act.at <= now and act.at > now - math.max(DAY, q.repeat_ms) then
    kept[#kept + 1] = act
    if act.at > now - DAY then today = today + 1 end
    if act.at > now - q.repeat_ms then
      for _, said in ipairs(act.marks) do
        for _, mark in ipairs(q.marks) do
          if said == mark then return {'repeated', int(act.at)} end
        end
      end
    end
  end
end
if today >= q.per_day then return {'enough', today} end
if redis.call('EXISTS', key) == 1 then
  kept[#kept + 1] = {at = now, run = q.run, marks = q.marks, topic = q.topic}
  redis.call('HSET', key, 'acts', cjson.encode(kept))
end
return {'act'}
