# Manual pages and completions: each program writes its own from its table of options, so that they say what it does.
include(GNUInstallDirs)
if(CMAKE_CROSSCOMPILING)
  return() # the programs do not run here
endif()
set(documents ${CMAKE_BINARY_DIR}/documents)
file(MAKE_DIRECTORY ${documents})
foreach(program IN LISTS GMOE_PROGRAM_NAMES)
  set(man ${documents}/${program}.1)
  set(bash ${documents}/${program})
  set(zsh ${documents}/_${program})
  set(fish ${documents}/${program}.fish)
  add_custom_command(OUTPUT ${man} ${bash} ${zsh} ${fish}
    COMMAND ${program} --help-man > ${man}
    COMMAND ${program} --completions bash > ${bash}
    COMMAND ${program} --completions zsh > ${zsh}
    COMMAND ${program} --completions fish > ${fish}
    DEPENDS ${program} COMMENT "Manual page and completions of ${program}" VERBATIM)
  list(APPEND written ${man} ${bash} ${zsh} ${fish})
  install(FILES ${man} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${bash} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${zsh} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${fish} DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endforeach()
add_custom_target(documents ALL DEPENDS ${written})
