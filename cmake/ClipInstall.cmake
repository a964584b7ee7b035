# What a packager expects where: units, pkg-config, man pages, completion. The programs and the
# library are installed where they are made.
set(CLIP_UNITDIR "lib/systemd/system" CACHE STRING "Where systemd's units go, below the prefix")

foreach(file clipd.service clipd.socket clip.pc)
  configure_file(dist/${file} ${CMAKE_CURRENT_BINARY_DIR}/dist/${file} @ONLY)
endforeach()
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dist/clipd.service
              ${CMAKE_CURRENT_BINARY_DIR}/dist/clipd.socket DESTINATION ${CLIP_UNITDIR})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dist/clip.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The man pages say what the programs' --help says (scripts/man).
function(clip_man target page section)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/man/${page}.${section})
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/man
    COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/scripts/man $<TARGET_FILE:${target}>
            ${CMAKE_CURRENT_SOURCE_DIR}/docs/man/${page}.${section}.in > ${output}
    DEPENDS ${target} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/man
            ${CMAKE_CURRENT_SOURCE_DIR}/docs/man/${page}.${section}.in
    VERBATIM)
  add_custom_target(man_${page} ALL DEPENDS ${output})
  install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endfunction()
clip_man(clip_cli clip 1)
clip_man(clipd clipd 8)

install(FILES dist/clip.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME clip)
install(FILES dist/clip.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME clipd)
