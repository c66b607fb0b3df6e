"""Moving the state of a VNF instance: controller, control protocol, streams, resynchronisation modes."""
