"""What decides: the fleet's measurements come in, routes go out. Never imports `edge`; they meet in `protos`."""
