"""What paycore costs, as ratios to servers that do less or do it as is usual, measured in the same run.

python -m bench                 the whole table, within five minutes
python -m bench --quick         a rough one, within a minute
python -m bench --only create   one row
"""
