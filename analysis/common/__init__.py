"""What both packages need everywhere: errors, files, text that is safe to print, and masked secrets."""
