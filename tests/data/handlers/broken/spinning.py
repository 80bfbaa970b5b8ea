"""Never ends its import, and does not even sleep."""
while True:
    pass
