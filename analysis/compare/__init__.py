"""What compression did to each class or group, told in one way by every command: a table, sentences and a picture."""
