-- Comes before create.lua in the script that starts no job: its arguments begin at once.

local first, take_for, save_gate = 1, nil, nil
