"""A discrete-event simulation of Millrace's parts, whose service times were measured on one machine."""
